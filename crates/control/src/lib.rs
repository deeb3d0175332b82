//! Control data in SQLite: rules, alerts, users, ledger.
