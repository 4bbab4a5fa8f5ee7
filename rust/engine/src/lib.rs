//! ferroflow-engine
