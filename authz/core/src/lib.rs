//! The pure decision core of docsgate's gate.
