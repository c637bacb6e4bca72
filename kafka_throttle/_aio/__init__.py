"""The asyncio facades: the same engine, policies and ledger, with callers that are tasks."""
