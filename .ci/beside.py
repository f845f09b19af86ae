"""An export in a process that has kurrentdbclient loaded, and uses it."""

import kurrentdbclient

import workbench as wb
from workbench.embedded import EmbeddedStore

with EmbeddedStore() as store:
    client = kurrentdbclient.KurrentDBClient(store.uri)
    event = kurrentdbclient.NewEvent(type="created", data=b"{}")
    client.append_to_stream("user-1", current_version=kurrentdbclient.StreamState.NO_STREAM, events=[event])
    assert wb.export_log(store.uri, "beside").events_kept == 1
    client.close()
