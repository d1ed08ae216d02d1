//! The settings of generated answers. A model's name turns them on, and nothing else does.

use std::{path::PathBuf, time::Duration};

use url::Url;

use super::values;
use crate::generate::{Patience, Settings, Upstream, budget::Daily, secret::Secret, wire::Api};

/// Where OpenAI's own API is.
const OPENAI: &str = "https://api.openai.com/v1";
/// The variable with the key. There is no flag for it: command lines are public.
const KEY: &str = "OPENAI_API_KEY";

/// Settings of generated answers.
#[derive(Debug, clap::Args)]
pub(super) struct LlmArgs {
    /// Name of the model that writes answers; without it they are extractive, whatever else is set.
    #[arg(long, env = "DOCSGATE_COPILOT_LLM_MODEL", help_heading = "Generated answers")]
    llm_model: Option<String>,
    /// Protocol of the model's server; needed only where the addresses of both are set.
    #[arg(long, env = "DOCSGATE_COPILOT_LLM_API", value_enum, help_heading = "Generated answers")]
    llm_api: Option<Api>,
    /// Address of an OpenAI-compatible API, with its /v1; https://api.openai.com/v1 where only a key is set. The key is the
    /// variable OPENAI_API_KEY.
    #[arg(long, env = "OPENAI_API_BASE_URL", help_heading = "Generated answers")]
    openai_base_url: Option<String>,
    /// File with the key, in place of OPENAI_API_KEY.
    #[arg(long, env = "OPENAI_API_KEY_FILE", value_parser = values::path, help_heading = "Generated answers")]
    openai_key_file: Option<PathBuf>,
    /// Address of Ollama, such as http://127.0.0.1:11434.
    #[arg(long, env = "OLLAMA_BASE_URL", help_heading = "Generated answers")]
    ollama_base_url: Option<String>,
    /// Most tokens of one answer.
    #[arg(long, env = "DOCSGATE_COPILOT_LLM_MAX_TOKENS", default_value_t = 700,
          value_parser = clap::value_parser!(u32).range(16..=8192), help_heading = "Generated answers")]
    llm_max_tokens: u32,
    /// Longest wait for a connection to the model's server.
    #[arg(long, env = "DOCSGATE_COPILOT_LLM_CONNECT_TIMEOUT", default_value = "2s",
          value_parser = values::patience, help_heading = "Generated answers")]
    llm_connect_timeout: Duration,
    /// Longest wait for the first token, and for each after it.
    #[arg(long, env = "DOCSGATE_COPILOT_LLM_TOKEN_TIMEOUT", default_value = "10s",
          value_parser = values::patience, help_heading = "Generated answers")]
    llm_token_timeout: Duration,
    /// Longest time of one answer.
    #[arg(long, env = "DOCSGATE_COPILOT_LLM_TIMEOUT", default_value = "45s",
          value_parser = values::patience, help_heading = "Generated answers")]
    llm_timeout: Duration,
    /// Answers that are generated at a time; beyond it readers get extractive ones.
    #[arg(long, env = "DOCSGATE_COPILOT_LLM_CONCURRENCY", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Generated answers")]
    llm_concurrency: u16,
    /// Tokens a day of one member or API key, prompts included.
    #[arg(long, env = "DOCSGATE_COPILOT_LLM_TOKENS_PER_CALLER", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000), help_heading = "Generated answers")]
    llm_tokens_per_caller: u64,
    /// Tokens a day of all callers together that are neither members nor have an API key.
    #[arg(long, env = "DOCSGATE_COPILOT_LLM_TOKENS_ANONYMOUS", default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000), help_heading = "Generated answers")]
    llm_tokens_anonymous: u64,
    /// Tokens a day of everybody together, for each replica.
    #[arg(long, env = "DOCSGATE_COPILOT_LLM_TOKENS_PER_SITE", default_value_t = 2_000_000,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000), help_heading = "Generated answers")]
    llm_tokens_per_site: u64,
}

impl LlmArgs {
    /// Checked settings; none without a model.
    ///
    /// # Errors
    /// A sentence about what is wrong or missing.
    pub(super) fn settings(&self) -> Result<Option<Settings>, String> {
        let set =
            |text: &Option<String>| text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let Some(model) = set(&self.llm_model) else { return Ok(None) };
        let (openai, ollama) = (set(&self.openai_base_url), set(&self.ollama_base_url));
        let key = self.key()?;
        let api = match (self.llm_api, &openai, &ollama) {
            (Some(api), ..) => api,
            (None, Some(_), Some(_)) => {
                return Err("OPENAI_API_BASE_URL and OLLAMA_BASE_URL are both set: choose with --llm-api".to_owned());
            }
            (None, None, Some(_)) => Api::Ollama,
            (None, ..) => Api::OpenAi,
        };
        let (flag, base, key) = match api {
            Api::OpenAi if openai.is_none() && key.is_none() => {
                return Err(
                    "--llm-model needs a server: expected OPENAI_API_BASE_URL, OPENAI_API_KEY or OLLAMA_BASE_URL"
                        .to_owned(),
                );
            }
            Api::OpenAi => ("--openai-base-url", openai.unwrap_or_else(|| OPENAI.to_owned()), key),
            // The key of another service is not sent to this one.
            Api::Ollama => {
                let missing = || "--llm-api ollama needs OLLAMA_BASE_URL, such as http://127.0.0.1:11434".to_owned();
                ("--ollama-base-url", ollama.ok_or_else(missing)?, None)
            }
        };
        if key.as_ref().is_some_and(|key| key.bearer().is_err()) {
            return Err(
                "the key has characters that no header can carry; expected one line of visible ASCII".to_owned()
            );
        }
        let base = Url::parse(&base).map_err(|error| format!("{flag}: {error}"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(format!("{flag}: expected an http or https address"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(format!(
                "{flag}: an address with a name or password in it is not used; a key comes from {KEY}"
            ));
        }
        let patience =
            Patience { connect: self.llm_connect_timeout, token: self.llm_token_timeout, total: self.llm_timeout };
        Ok(Some(Settings {
            upstream: Upstream { api, base, key, model, patience },
            max_tokens: self.llm_max_tokens,
            concurrency: usize::from(self.llm_concurrency),
            daily: Daily {
                caller: self.llm_tokens_per_caller,
                anonymous: self.llm_tokens_anonymous,
                site: self.llm_tokens_per_site,
            },
        }))
    }

    /// The key, from its file or variable.
    fn key(&self) -> Result<Option<Secret>, String> {
        let Some(file) = &self.openai_key_file else {
            return Ok(std::env::var(KEY).ok().as_deref().and_then(Secret::new));
        };
        let text =
            std::fs::read_to_string(file).map_err(|error| format!("--openai-key-file {}: {error}", file.display()))?;
        let secret = Secret::new(&text).ok_or_else(|| format!("--openai-key-file {}: it is empty", file.display()))?;
        Ok(Some(secret))
    }
}
