#!/bin/sh
# Copy what is new, then write the report of the history up to the last midnight in UTC. For cron, for example:
#
#   15 0 * * *  WORKBENCH_SOURCE='esdb://db.example:2113' WORKBENCH_LAKE=/srv/lakes/orders /srv/workbench/pipelines/nightly.sh /srv/reports
#
# User and password come from KURRENTDB_USERNAME and KURRENTDB_PASSWORD. Run again on the same day it copies only what came since, and
# writes the same report. A failure ends it with one sentence on standard error and a status that is not 0; nothing half-written is left.
set -eu
: "${WORKBENCH_SOURCE:?set it to the address of the KurrentDB}" "${WORKBENCH_LAKE:?set it to the directory of the lake}"
reports=${1:?usage: nightly.sh DIRECTORY-FOR-REPORTS}
day=$(date -u +%F)

workbench export
workbench report run event_types --at "$day" --out "$reports/event_types-$day.html"
