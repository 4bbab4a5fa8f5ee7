//! ferroflow-live
