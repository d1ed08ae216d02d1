//! Bytes of a model's response → pieces of its answer, for both protocols, within bounds. Knows no socket.

use bytes::BytesMut;
use serde::Deserialize;
use tokio_util::codec::{Decoder as _, LinesCodec, LinesCodecError};

use super::fault::Fault;

/// Longest line that is read.
pub const MAX_LINE: usize = 64 * 1024;
/// Most bytes of one response.
pub const MAX_BYTES: usize = 4 << 20;

/// A protocol that models are asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Api {
    /// `POST …/chat/completions`, answered as server-sent events.
    #[value(name = "openai")]
    OpenAi,
    /// `POST …/api/chat`, answered as lines of JSON.
    Ollama,
}

/// Something that a response says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// More of the answer.
    Text(String),
    /// Tokens that were used.
    Usage {
        /// Of the prompt.
        prompt: u64,
        /// Of the answer.
        answer: u64,
    },
    /// The answer ends; not whole where the model had no tokens left.
    End {
        /// Whether the model came to an end by itself.
        whole: bool,
    },
}

/// Reads one response.
#[derive(Debug)]
pub struct Decoder {
    api: Api,
    lines: LinesCodec,
    buffer: BytesMut,
    /// Data of the event that is being read.
    data: String,
    read: usize,
    /// The answer has ended.
    ended: bool,
    /// And so has the response.
    done: bool,
}

impl Decoder {
    /// At the beginning of a response.
    #[must_use]
    pub fn new(api: Api) -> Self {
        let lines = LinesCodec::new_with_max_length(MAX_LINE);
        Self { api, lines, buffer: BytesMut::new(), data: String::new(), read: 0, ended: false, done: false }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What is wrong with the response.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Piece>, Fault> {
        self.read += bytes.len();
        if self.read > MAX_BYTES {
            return Err(Fault::TooLong);
        }
        self.buffer.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        while let Some(line) = self.lines.decode(&mut self.buffer).map_err(|error| fault(&error))? {
            self.line(&line, &mut pieces)?;
        }
        Ok(pieces)
    }

    /// The connection ended.
    ///
    /// # Errors
    /// [`Fault::Cut`] when the answer had not.
    pub fn end(mut self) -> Result<Vec<Piece>, Fault> {
        let mut pieces = Vec::new();
        while let Some(line) = self.lines.decode_eof(&mut self.buffer).map_err(|error| fault(&error))? {
            self.line(&line, &mut pieces)?;
        }
        self.line("", &mut pieces)?;
        if self.ended { Ok(pieces) } else { Err(Fault::Cut) }
    }

    /// Whether nothing more can follow.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn line(&mut self, line: &str, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        match self.api {
            Api::Ollama if line.trim().is_empty() => Ok(()),
            Api::Ollama => self.ollama(line, pieces),
            Api::OpenAi if line.is_empty() => {
                let data = std::mem::take(&mut self.data);
                if data.is_empty() { Ok(()) } else { self.openai(&data, pieces) }
            }
            Api::OpenAi => {
                // Comments, names and ids of events say nothing here.
                if let Some(data) = line.strip_prefix("data:") {
                    if self.data.len() + data.len() > MAX_LINE {
                        return Err(Fault::TooLong);
                    }
                    if !self.data.is_empty() {
                        self.data.push('\n');
                    }
                    self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
                }
                Ok(())
            }
        }
    }

    fn openai(&mut self, data: &str, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        if self.done {
            return Ok(());
        }
        if data.trim() == "[DONE]" {
            self.finish(true, pieces);
            self.done = true;
            return Ok(());
        }
        let chunk: OpenAiChunk = serde_json::from_str(data).map_err(|_| Fault::Malformed)?;
        if chunk.error.is_some() {
            return Err(Fault::Failed(200));
        }
        // One choice was asked for; a last chunk with none carries the usage.
        for choice in chunk.choices.into_iter().flatten().take(1) {
            let delta = choice.delta.unwrap_or_default();
            if delta.tool_calls.is_some_and(|calls| !calls.is_empty()) || delta.function_call.is_some() {
                return Err(Fault::ToolCall);
            }
            if delta.refusal.is_some_and(|refusal| !refusal.is_empty()) {
                return Err(Fault::Refused);
            }
            self.text(delta.content, pieces);
            match choice.finish_reason.as_deref() {
                None | Some("") => {}
                Some("content_filter") => return Err(Fault::Refused),
                Some("tool_calls" | "function_call") => return Err(Fault::ToolCall),
                Some(reason) => self.finish(reason != "length", pieces),
            }
        }
        if let Some(usage) = chunk.usage {
            pieces.push(Piece::Usage { prompt: usage.prompt_tokens, answer: usage.completion_tokens });
        }
        Ok(())
    }

    fn ollama(&mut self, line: &str, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        let chunk: OllamaChunk = serde_json::from_str(line).map_err(|_| Fault::Malformed)?;
        if chunk.error.is_some() {
            return Err(Fault::Failed(200));
        }
        let message = chunk.message.unwrap_or_default();
        if message.tool_calls.is_some_and(|calls| !calls.is_empty()) {
            return Err(Fault::ToolCall);
        }
        self.text(message.content, pieces);
        if chunk.done {
            pieces.push(Piece::Usage { prompt: chunk.prompt_eval_count, answer: chunk.eval_count });
            self.finish(chunk.done_reason.as_deref() != Some("length"), pieces);
            self.done = true;
        }
        Ok(())
    }

    fn text(&self, text: Option<String>, pieces: &mut Vec<Piece>) {
        if let Some(text) = text.filter(|text| !text.is_empty() && !self.ended) {
            pieces.push(Piece::Text(text));
        }
    }

    fn finish(&mut self, whole: bool, pieces: &mut Vec<Piece>) {
        if !std::mem::replace(&mut self.ended, true) {
            pieces.push(Piece::End { whole });
        }
    }
}

fn fault(error: &LinesCodecError) -> Fault {
    match error {
        LinesCodecError::MaxLineLengthExceeded => Fault::TooLong,
        LinesCodecError::Io(_) => Fault::Malformed,
    }
}

#[derive(Deserialize)]
struct OpenAiChunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<serde_json::Value>>,
    function_call: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

#[derive(Deserialize)]
struct OllamaChunk {
    message: Option<Delta>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    #[serde(default)]
    prompt_eval_count: u64,
    #[serde(default)]
    eval_count: u64,
    error: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(api: Api, parts: &[&[u8]]) -> Result<Vec<Piece>, Fault> {
        let mut decoder = Decoder::new(api);
        let mut pieces = Vec::new();
        for part in parts {
            pieces.extend(decoder.push(part)?);
        }
        pieces.extend(decoder.end()?);
        Ok(pieces)
    }

    const STREAM: &str = concat!(
        ": keep-alive\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "event: message\ndata: {\"choices\":[{\"delta\":{\"content\":\"Über [1]\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\n",
        "data: \"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n",
        "data: [DONE]\n\n",
    );

    proptest! {
        #[test]
        fn any_split_of_a_stream_says_the_same(cuts in proptest::collection::vec(0..STREAM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut parts = Vec::new();
            let mut from = 0;
            for cut in cuts {
                parts.push(&STREAM.as_bytes()[from..cut]);
                from = cut;
            }
            parts.push(&STREAM.as_bytes()[from..]);
            let expected = vec![
                Piece::Text("Über [1]".to_owned()),
                Piece::End { whole: true },
                Piece::Usage { prompt: 7, answer: 2 },
            ];
            prop_assert_eq!(all(Api::OpenAi, &parts), Ok(expected));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = (all(Api::OpenAi, &[&bytes]), all(Api::Ollama, &[&bytes]));
        }
    }

    #[test]
    fn what_is_no_answer_is_named() {
        let said = |body: &str| all(Api::OpenAi, &[format!("data: {body}\n\ndata: [DONE]\n\n").as_bytes()]);
        for (body, fault) in [
            ("{not json", Fault::Malformed),
            (r#"{"error":{"message":"overloaded"}}"#, Fault::Failed(200)),
            (r#"{"choices":[{"delta":{"tool_calls":[{"id":"x"}]}}]}"#, Fault::ToolCall),
            (r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#, Fault::ToolCall),
            (r#"{"choices":[{"delta":{"refusal":"I cannot help with that."}}]}"#, Fault::Refused),
            (r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#, Fault::Refused),
        ] {
            assert_eq!(said(body), Err(fault), "{body}");
        }
        assert_eq!(said(r#"{"choices":[]}"#), Ok(vec![Piece::End { whole: true }]));
        let long = format!("data: {}", "x".repeat(10 << 20));
        assert_eq!(all(Api::OpenAi, &[long.as_bytes()]), Err(Fault::TooLong));
        assert_eq!(all(Api::OpenAi, &[&STREAM.as_bytes()[..150]]), Err(Fault::Cut));
        assert_eq!(all(Api::OpenAi, &[b"data: \xff\xfe\n\n"]), Err(Fault::Malformed));
    }

    #[test]
    fn ollamas_lines_are_read() {
        let lines = concat!(
            "{\"message\":{\"role\":\"assistant\",\"content\":\"Run it [1].\"},\"done\":false}\n",
            "{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"length\",\"prompt_eval_count\":5,\"eval_count\":4}\n",
        );
        let expected = vec![
            Piece::Text("Run it [1].".to_owned()),
            Piece::Usage { prompt: 5, answer: 4 },
            Piece::End { whole: false },
        ];
        assert_eq!(all(Api::Ollama, &[lines.as_bytes()]), Ok(expected));
        assert_eq!(all(Api::Ollama, &[b"{\"error\":\"model not found\"}\n"]), Err(Fault::Failed(200)));
    }
}
