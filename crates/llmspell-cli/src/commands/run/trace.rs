//! The trace of a run: shown on stderr, exported to an OpenTelemetry collector, or both.

use clap::Args;
use llmspell::{Otlp, OtlpConfig, Result, RunBuilder};
use percent_encoding::percent_decode_str;

use crate::environment::of_process as get;

/// The flags for the trace of a run.
#[derive(Debug, Args)]
pub(crate) struct TraceFlags {
    /// Show on stderr what the run does as it happens: model calls, requests, files, with times and cost
    #[arg(long)]
    trace: bool,
}

/// The trace of a run.
pub(crate) struct RunTrace {
    /// Whether it is shown on stderr.
    shown: bool,
    /// The collector that it is exported to.
    otlp: Option<Otlp>,
}

impl TraceFlags {
    pub(crate) fn trace(&self) -> RunTrace {
        RunTrace { shown: self.trace, otlp: collector().map(Otlp::new) }
    }
}

impl RunTrace {
    pub(super) fn apply(&self, builder: RunBuilder) -> RunBuilder {
        let builder = if self.shown { builder.trace_events() } else { builder };
        match &self.otlp {
            Some(otlp) => builder.trace(otlp.tracer()),
            None => builder,
        }
    }

    /// Exports the trace.
    ///
    /// # Errors
    /// When the collector cannot be reached, or refuses the trace.
    pub(super) async fn export(self) -> Result<()> {
        match self.otlp {
            Some(otlp) => otlp.send().await,
            None => Ok(()),
        }
    }
}

/// Returns the collector that OpenTelemetry's environment variables name. Only the environment of the process counts,
/// not `.env`: that file comes with the current folder, and could send the user's traces to a stranger.
fn collector() -> Option<OtlpConfig> {
    let is = |name: &str, value: &str| get(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    let whole = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let base = || get("OTEL_EXPORTER_OTLP_ENDPOINT");
    let endpoint = whole.or_else(|| Some(format!("{}/v1/traces", base()?.trim_end_matches('/'))))?;
    let headers = get("OTEL_EXPORTER_OTLP_TRACES_HEADERS")
        .or_else(|| get("OTEL_EXPORTER_OTLP_HEADERS"))
        .unwrap_or_default();
    let mut config = OtlpConfig::new(endpoint);
    config.headers = pairs(&headers).map(|(name, value)| (name, value.into())).collect();
    config.resource = pairs(&get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default()).collect();
    if let Some(at) = config.resource.iter().position(|(name, _)| name == "service.name") {
        config.service = config.resource.swap_remove(at).1;
    }
    if let Some(service) = get("OTEL_SERVICE_NAME") {
        config.service = service;
    }
    config.content = is("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true");
    Some(config)
}

/// Parses `name=value,name=value` with percent-encoded values.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split(',').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
        Some((name.trim().to_owned(), value)).filter(|(name, _)| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_the_environment_has_them() {
        let read: Vec<_> = pairs("a=1, b = x%20y ,=z,c,authorization=Basic%20a=").collect();
        let expected = [("a", "1"), ("b", "x y"), ("authorization", "Basic a=")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
