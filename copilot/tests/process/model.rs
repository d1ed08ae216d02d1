//! A model's server over real HTTP: it answers as it is told to, also as none should.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::server::PATIENCE;

/// What it does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// Streams these pieces as it should.
    Say(Vec<&'static str>),
    /// The same as Ollama does.
    SayAsOllama(Vec<&'static str>),
    /// A status, headers and a body.
    Reply(&'static str, &'static str, String),
    /// A stream of these bytes, whole, then the end of the connection.
    Stream(String),
    /// Nothing, not even a head.
    Silence,
    /// These bytes of a stream, and nothing more.
    Stall(String),
    /// Half of a chunk, then the end of the connection.
    Cut(String),
}

/// What it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Sent {
    /// Everything that it was told.
    pub(crate) fn prompt(&self) -> String {
        let messages = self.body["messages"].as_array().unwrap();
        messages.iter().map(|message| message["content"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
    }
}

#[derive(Debug, Default)]
struct State {
    next: VecDeque<Behaviour>,
    sent: Vec<Sent>,
    /// Requests that their asker gave up.
    left: usize,
}

/// The server; it says what is queued, in order.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

/// One event with text.
pub(crate) fn event(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

/// One event with anything.
pub(crate) fn data(body: &Value) -> String {
    format!("data: {body}\n\n")
}

impl Model {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let model = Self { address: format!("http://{}", listener.local_addr().unwrap()), state: Arc::default() };
        let serving = model.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let model = serving.clone();
                // Whoever asked may be gone: that is what some tests are about.
                tokio::spawn(async move { drop(model.serve(stream).await) });
            }
        });
        model
    }

    /// One that nobody can reach.
    pub(crate) fn away() -> Self {
        Self { address: "http://127.0.0.1:9".to_owned(), state: Arc::default() }
    }

    pub(crate) fn will(&self, behaviour: Behaviour) {
        self.state.lock().unwrap().next.push_back(behaviour);
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.state.lock().unwrap().sent.clone()
    }

    /// Waits until as many requests were made.
    pub(crate) async fn asked(&self, count: usize) {
        self.until(|state| state.sent.len() >= count).await;
    }

    /// Waits until as many were given up by whoever made them.
    pub(crate) async fn left(&self, count: usize) {
        self.until(|state| state.left >= count).await;
    }

    async fn until(&self, wanted: impl Fn(&State) -> bool) {
        let started = Instant::now();
        while !wanted(&self.state.lock().unwrap()) {
            assert!(started.elapsed() < PATIENCE, "{:?}", self.state.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let Some(sent) = read(&mut stream).await? else { return Ok(()) };
        let behaviour = {
            let mut state = self.state.lock().unwrap();
            state.sent.push(sent);
            state.next.pop_front().unwrap_or(Behaviour::Reply("500 Internal Server Error", "", String::new()))
        };
        let head = |kind: &str| {
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            )
        };
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let events = head("text/event-stream; charset=utf-8");
        match behaviour {
            Behaviour::Say(pieces) => {
                stream.write_all(events.as_bytes()).await?;
                for piece in pieces {
                    stream.write_all(chunk(&event(piece)).as_bytes()).await?;
                    stream.flush().await?;
                }
                let end = data(&json!({"choices": [{"delta": {}, "finish_reason": "stop"}]}))
                    + &data(&json!({"choices": [], "usage": {"prompt_tokens": 300, "completion_tokens": 40}}))
                    + "data: [DONE]\n\n";
                stream.write_all((chunk(&end) + "0\r\n\r\n").as_bytes()).await
            }
            Behaviour::SayAsOllama(pieces) => {
                let mut lines = String::new();
                for piece in pieces {
                    lines +=
                        &format!("{}\n", json!({"message": {"role": "assistant", "content": piece}, "done": false}));
                }
                lines += &format!(
                    "{}\n",
                    json!({"message": {"content": ""}, "done": true, "done_reason": "stop", "eval_count": 9})
                );
                let body = head("application/x-ndjson") + &chunk(&lines) + "0\r\n\r\n";
                stream.write_all(body.as_bytes()).await
            }
            Behaviour::Reply(status, headers, body) => {
                let head = format!(
                    "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).await
            }
            Behaviour::Stream(text) => stream.write_all((events + &chunk(&text) + "0\r\n\r\n").as_bytes()).await,
            Behaviour::Silence => self.wait(stream).await,
            Behaviour::Stall(text) => {
                stream.write_all((events + &chunk(&text)).as_bytes()).await?;
                self.wait(stream).await
            }
            Behaviour::Cut(text) => stream.write_all((events + &chunk(&text) + "ff\r\ndata: {\"cho").as_bytes()).await,
        }
    }

    /// Until the other side ends the connection.
    async fn wait(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = [0; 64];
        while matches!(stream.read(&mut buffer).await, Ok(read) if read > 0) {}
        self.state.lock().unwrap().left += 1;
        Ok(())
    }
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Sent>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let length = text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    while bytes.len() < head + length.unwrap_or(0) {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Sent { head: text, body: serde_json::from_slice(&bytes[head..]).unwrap_or(Value::Null) }))
}
