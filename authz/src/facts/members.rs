//! TEMP
#![allow(missing_docs)]
use crate::postgres::DatabaseUrls;
use authz_core::{entitlement::*, identity::*, policy::EntitlementsPolicy, time::Timestamp};
use prometheus_client::registry::Registry;
use std::sync::Arc;
#[derive(Debug)]
pub struct Members;
impl Members {
    pub fn start(_: Option<DatabaseUrls>, _: &EntitlementsPolicy, _: &mut Registry) -> Arc<Self> {
        Arc::new(Self)
    }
    pub fn apply(&self, _: &EntitlementsPolicy) {}
    pub async fn standing(&self, _: &MemberId, _: Option<&str>, _: Timestamp) -> Result<Standing, StoreUnavailable> {
        Err(StoreUnavailable)
    }
    pub async fn api_key(&self, _: &str, _: Timestamp) -> Result<ApiKeyRecord, ApiKeyFault> {
        Err(ApiKeyFault::Unknown)
    }
}
