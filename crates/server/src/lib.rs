//! The service: HTTP APIs, inputs, security, metrics.
