//! End-to-end tests live in `e2e/`; this library only names the package.
