//! Log records over OTLP, for who writes them from a thread of its own.

use std::{fmt, time::SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_otlp::LogExporter;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};

use crate::traces::{FINISH, endpoint, resource};

/// A collector that takes log records.
pub struct Records {
    provider: SdkLoggerProvider,
    logger: SdkLogger,
}

impl Records {
    /// Records that are handed over before the collector's answer is waited for; less than the SDK's queue holds.
    pub const BATCH: u64 = 512;

    /// As the environment says. Within a Tokio runtime.
    ///
    /// # Errors
    /// A sentence, when no endpoint is named or it cannot be used.
    pub fn from_environment(service: &'static str, version: &'static str) -> Result<Self, String> {
        let endpoint = endpoint("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
            .ok_or("set OTEL_EXPORTER_OTLP_ENDPOINT to a collector, such as http://collector:4317")?;
        let exporter = LogExporter::builder().with_tonic().build().map_err(|error| format!("{endpoint}: {error}"))?;
        let provider = SdkLoggerProvider::builder().with_batch_exporter(exporter);
        let provider = provider.with_resource(resource(service, version)).build();
        let logger = provider.logger(service);
        Ok(Self { provider, logger })
    }

    /// Takes a record: its text, and attributes to look for it by.
    pub fn emit(&self, event: &'static str, body: String, attributes: &[(&'static str, &str)]) {
        let mut record = self.logger.create_log_record();
        record.set_event_name(event);
        record.set_observed_timestamp(SystemTime::now());
        record.set_severity_number(Severity::Info);
        record.set_body(AnyValue::from(body));
        for (name, value) in attributes {
            record.add_attribute(*name, (*value).to_owned());
        }
        self.logger.emit(record);
    }

    /// Waits until the collector has what was taken so far. Blocks.
    ///
    /// # Errors
    /// When it does not take it.
    pub fn flush(&self) -> std::io::Result<()> {
        self.provider.force_flush().map_err(|error| std::io::Error::other(error.to_string()))
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.provider.shutdown_with_timeout(FINISH);
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Records")
    }
}
