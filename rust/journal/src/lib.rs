//! ferroflow-journal
