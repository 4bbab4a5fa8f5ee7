//! ferroflow-bindings
