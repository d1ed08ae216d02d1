//! A backend in copilot's place that notes what reaches it and answers what a test wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it reached the backend.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Received {
    /// All values of one header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// The server; it ends with the test process.
pub(crate) struct Backend {
    pub(crate) address: (String, u16),
    received: Arc<Mutex<Vec<Received>>>,
}

impl Backend {
    /// Answers 200 with these extra header lines.
    pub(crate) fn start(extra: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || serve(&stream, extra, &noted));
            }
        });
        Self { address: ("127.0.0.1".into(), port), received }
    }

    /// The corpus that the latest request was allowed.
    pub(crate) fn latest_corpus(&self) -> String {
        let received = self.received().pop().unwrap();
        let corpora = received.all("x-docsgate-corpus");
        assert_eq!(corpora.len(), 1, "{received:?}");
        corpora[0].to_owned()
    }

    /// What has reached it so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn serve(mut stream: &TcpStream, extra: &[&str], noted: &Mutex<Vec<Received>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            match header.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
        let length =
            headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        noted.lock().unwrap().push(Received { line: line.trim_end().to_owned(), headers });
        let extra: String = extra.iter().map(|line| format!("{line}\r\n")).collect();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{extra}content-length: 3\r\n\r\nok\n");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
