"""What documents show and a test cannot do as it stands: it needs a container, an account, a right, or much time."""

from __future__ import annotations

REPLACED = {
    # A container.
    "docker run --detach --name kurrentdb --publish 127.0.0.1:2113:2113 kurrentplatform/kurrentdb:latest --insecure --mem-db": "true",
    "workbench demo --source 'esdb://127.0.0.1:2113?tls=false' --dir data/tour": (
        "workbench demo --source esdb://empty:2113 --dir data/tour --events 1000"
    ),
    "docker build --tag event-workbench .": "true",
    "sudo chown -R 1000:1000 work": "true",
    "docker run --rm --env-file workbench.env --volume ./work:/work event-workbench check": (
        "(set -a; source <(sed 's/&/\\\\&/g' workbench.env); cd work; workbench check)"
    ),
    (
        "docker run --detach --name workbench --init --restart unless-stopped --stop-timeout 21600 --env-file workbench.env "
        "--volume ./work:/work --publish 127.0.0.1:9464:9464 event-workbench"
    ): "true",
    "docker exec workbench workbench schedule history": "cd work && workbench schedule due && workbench schedule history",
    "docker logs --since 24h workbench": "true",
    # Rights over the machine.
    "crontab -l > crontab.txt || true": "true",
    "crontab crontab.txt": "sed -n 's|/etc/workbench.env|/dev/null|; s|^[* ]* set -a|set -a|p' crontab.txt | bash",
    "sudo useradd --system --home-dir /srv/workbench --create-home workbench": "true",
    "sudo install --owner workbench --mode 600 workbench.env /etc/workbench.env": "true",
    "sudo install --mode 644 workbench.service /etc/systemd/system/workbench.service": "grep -A 1 Service workbench.service | grep User=",
    "sudo systemctl daemon-reload": "true",
    "sudo systemctl enable --now workbench": "workbench schedule due pipelines/nightly.yaml",
    "journalctl --unit workbench --since today": "true",
    # An account: the same program loads into DuckDB, and dlt knows the destinations.
    "python load_tables.py postgres": "python load_tables.py duckdb",
    "psql \"$DESTINATION__POSTGRES__CREDENTIALS\" --command 'select count(*) from events.user_logged_in'": (
        'python -c \'import duckdb; there = duckdb.connect("workbench.duckdb"); '
        'assert there.sql("select count(*) from events.user_logged_in").fetchall() == [(384,)]; '
        'assert there.sql("select count(*), count(distinct key) from events.user_state").fetchall() == [(47, 47)]\''
    ),
    "python load_tables.py bigquery": 'python -c \'import dlt; dlt.pipeline("named", destination="bigquery")\'',
    "python load_tables.py snowflake": 'python -c \'import dlt; dlt.pipeline("named", destination="snowflake")\'',
    # Much time.
    "workbench demo": "true",  # the fixture has done it; test_documents.py runs all of it
    "make demo": "true",
    "workbench bench --projection workbench.sample.projections:User --lake data/demo": "workbench bench --help",  # as in tests/performance
    "make test": "true",
    "make check": "true",
}
"""Commands, as documents show them, and what is run in the place of each."""
