"""The services of the sample system, each with its commands, its events and its rules.

Commands come in; events go into the journal, which the services share.
`registration` is the saga that leads one registration through three of them and undoes what was done where one fails.
`legacy` is an old service with habits that many old systems have.
Begin reading with `auth`.
"""
