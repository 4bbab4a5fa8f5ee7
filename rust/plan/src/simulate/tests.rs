//! What is simulated is what the kernel decides.
