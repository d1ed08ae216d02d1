//! Asks a model over HTTP, within bounds of time and size. Neither the key nor what the model's server says of an error is
//! ever logged: such texts repeat parts of the key.

use std::{collections::VecDeque, time::Duration};

use reqwest::{
    Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
    redirect::Policy,
};
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{
    fault::Fault,
    prompt::Message,
    secret::Secret,
    wire::{Api, Decoder, Piece},
};

/// How long the count of tokens is waited for after the answer.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long is waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the first token, and for each after it.
    pub token: Duration,
    /// For the whole answer.
    pub total: Duration,
}

/// Which model is asked, and where.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// How.
    pub api: Api,
    /// Address below which the protocol's paths lie.
    pub base: Url,
    /// Key, where one is needed.
    pub key: Option<Secret>,
    /// Name of the model.
    pub model: String,
    /// How long is waited for it.
    pub patience: Patience,
}

/// The way to one model.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    upstream: Upstream,
    url: Url,
}

/// An answer that is coming in. Dropping it ends the request.
#[derive(Debug)]
pub struct Reply {
    response: Response,
    decoder: Option<Decoder>,
    ready: VecDeque<Piece>,
    patience: Duration,
    deadline: Instant,
    /// The answer has ended; what may still come is the count of its tokens.
    ended: bool,
}

impl Client {
    /// To `upstream`.
    ///
    /// # Errors
    /// A sentence about what cannot be used.
    pub fn new(upstream: Upstream) -> Result<Self, String> {
        let path = match upstream.api {
            Api::OpenAi => "chat/completions",
            Api::Ollama => "api/chat",
        };
        let mut base = upstream.base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let url = base.join(path).map_err(|error| error.to_string())?;
        // A redirect would carry question and passages to a place that nobody has named.
        let http = reqwest::Client::builder()
            .connect_timeout(upstream.patience.connect)
            .redirect(Policy::none())
            .user_agent(concat!("docsgate-copilot/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("no HTTP client: {}", error.without_url()))?;
        Ok(Self { http, upstream, url })
    }

    /// Name of the model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.upstream.model
    }

    /// How long is waited.
    #[must_use]
    pub fn patience(&self) -> Patience {
        self.upstream.patience
    }

    /// Asks, and returns once the answer begins.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn ask(&self, messages: &[Message], most: u32, deadline: Instant) -> Result<Reply, Fault> {
        let Upstream { api, model, key, patience, .. } = &self.upstream;
        let body = match api {
            Api::OpenAi => json!({
                "model": model, "messages": messages, "stream": true, "temperature": 0, "max_tokens": most,
                "stream_options": {"include_usage": true},
            }),
            Api::Ollama => json!({
                "model": model, "messages": messages, "stream": true,
                "options": {"temperature": 0, "num_predict": most},
            }),
        };
        let mut request = self.http.post(self.url.clone()).json(&body);
        if let Some(key) = key {
            request = request.header(AUTHORIZATION, key.bearer().map_err(|_| Fault::Denied)?);
        }
        let until = deadline.min(Instant::now() + patience.connect + patience.token);
        let response = match timeout_at(until, request.send()).await {
            Err(_) => return Err(Fault::Slow),
            Ok(Err(error)) if error.is_timeout() && !error.is_connect() => return Err(Fault::Slow),
            Ok(Err(_)) => return Err(Fault::Unreachable),
            Ok(Ok(response)) => response,
        };
        check(&response, *api)?;
        let decoder = Some(Decoder::new(*api));
        Ok(Reply { response, decoder, ready: VecDeque::new(), patience: patience.token, deadline, ended: false })
    }
}

/// Whether a response can be an answer.
fn check(response: &Response, api: Api) -> Result<(), Fault> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Fault::Denied),
        StatusCode::TOO_MANY_REQUESTS => {
            let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            return Err(Fault::Limited(after));
        }
        other => return Err(Fault::Failed(other.as_u16())),
    }
    let sent = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let expected: &[&str] = match api {
        Api::OpenAi => &["text/event-stream"],
        Api::Ollama => &["application/x-ndjson", "application/json"],
    };
    if expected.contains(&essence.as_str()) { Ok(()) } else { Err(Fault::WrongType) }
}

impl Reply {
    /// The next piece; `None` when the response has ended as it should.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn next(&mut self) -> Result<Option<Piece>, Fault> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                if matches!(piece, Piece::End { .. }) {
                    (self.ended, self.patience) = (true, LAST_WORDS);
                }
                return Ok(Some(piece));
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                // The answer was there; what comes after it changes nothing.
                Err(_) if self.ended => return Ok(None),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Reads what there is next; false at the end.
    async fn read(&mut self) -> Result<bool, Fault> {
        let Some(decoder) = &mut self.decoder else { return Ok(false) };
        if decoder.is_done() {
            return Ok(false);
        }
        let until = self.deadline.min(Instant::now() + self.patience);
        match timeout_at(until, self.response.chunk()).await {
            Err(_) => return Err(Fault::Slow),
            Ok(Err(_)) => return Err(Fault::Cut),
            Ok(Ok(Some(bytes))) => self.ready.extend(decoder.push(&bytes)?),
            Ok(Ok(None)) => {
                let rest = self.decoder.take().map(Decoder::end).transpose()?;
                self.ready.extend(rest.into_iter().flatten());
            }
        }
        Ok(true)
    }
}
