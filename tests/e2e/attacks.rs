//! Attacks that once worked, each kept as a test that fails if it works again. `docs/public/security.md` names them.

mod guard_switch;
mod hostile_artifact;
mod limiter_floor;
mod noise;
mod notify_storm;
mod operators_port;
mod portal_role;
mod random_api_keys;
mod silent_listener;
mod slow_search;
mod stale_standby;
mod withdrawn_key;
