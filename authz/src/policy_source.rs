//! TEMP
#![allow(missing_docs)]
use authz_core::policy::Snapshot;
use prometheus_client::registry::Registry;
use std::{path::Path, sync::Arc};
#[derive(Debug)]
pub struct PolicySource;
impl PolicySource {
    pub fn load(_: &Path, _: &mut Registry) -> Result<Arc<Self>, String> {
        Err("temp".into())
    }
    pub fn current(&self) -> Arc<Snapshot> {
        loop {}
    }
    pub async fn watch(self: &Arc<Self>, _: impl Fn(&Snapshot) + Send + 'static) {}
    pub fn status(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}
