//! The model's text, character by character → text, code and citations. A state machine: each character is looked at once
//! (or twice, where what looked like a citation is none), so no text costs more than its length, and how the stream was cut
//! into pieces changes nothing.

/// Longest mark that can still become a citation, in characters: `[12, 13, 14]`.
const MAX_MARK: usize = 40;
/// Longest piece of code that is kept, in bytes.
const MAX_CODE: usize = 8 * 1024;
/// Largest number that is told from others.
const MAX_NUMBER: u32 = 9999;

/// What the text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A character of prose.
    Char(char),
    /// The end of a line.
    Line,
    /// The number of a citation.
    Cite(u32),
    /// Code within a line.
    Span(String),
    /// Code in lines of its own.
    Fence {
        /// What stands after the opening marks.
        info: String,
        /// The lines.
        code: String,
    },
}

/// Where in the text the scanner is.
#[derive(Debug)]
enum State {
    /// After spaces that begin a line.
    LineStart(usize),
    Prose,
    /// After marks at the beginning of a line that may open a fence.
    Opening {
        mark: char,
        count: usize,
    },
    /// After an opening bracket and what may stand in a citation.
    Mark(String),
    /// After backticks.
    Ticks(usize),
    /// In code within a line, after `run` backticks that may close it.
    Span {
        count: usize,
        text: String,
        run: usize,
    },
    /// After the marks that open a fence, in the line of these.
    Info {
        mark: char,
        count: usize,
        info: String,
    },
    Fence {
        mark: char,
        count: usize,
        info: String,
        code: String,
        line: String,
    },
}

/// Reads a text that comes in pieces.
#[derive(Debug)]
pub struct Scanner {
    state: State,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { state: State::LineStart(0) }
    }
}

impl Scanner {
    /// Takes the next character and says, through `out`, what is certain now.
    pub fn push(&mut self, c: char, out: &mut impl FnMut(Token)) {
        if c == '\r' {
            return;
        }
        let state = std::mem::replace(&mut self.state, State::Prose);
        self.state = match state {
            State::LineStart(spaces) => line_start(spaces, c, out),
            State::Prose => prose(c, out),
            State::Opening { mark, count } => opening(mark, count, c, out),
            State::Mark(held) => mark(held, c, out),
            State::Ticks(count) if c == '`' => State::Ticks(count + 1),
            State::Ticks(count) => span(count, String::new(), 0, c, out),
            State::Span { count, text, run } => span(count, text, run, c, out),
            State::Info { mark, count, info } => info_line(mark, count, info, c, out),
            State::Fence { mark, count, info, code, line } => fence(Fenced { mark, count, info, code, line }, c, out),
        };
    }

    /// The text has ended.
    pub fn end(self, out: &mut impl FnMut(Token)) {
        match self.state {
            State::LineStart(_) | State::Prose => {}
            State::Opening { mark, count } => (0..count).for_each(|_| out(Token::Char(mark))),
            State::Mark(held) => held.chars().for_each(|c| out(Token::Char(c))),
            State::Ticks(_) => {}
            State::Span { text, .. } => out(Token::Span(text)),
            State::Info { info, .. } => out(Token::Fence { info, code: String::new() }),
            State::Fence { info, code, line, mark, count } => {
                let code = if closes(&line, mark, count) { code } else { code + &line };
                out(Token::Fence { info, code });
            }
        }
    }
}

fn line_start(spaces: usize, c: char, out: &mut impl FnMut(Token)) -> State {
    match c {
        ' ' | '\t' => {
            out(Token::Char(' '));
            State::LineStart(spaces + 1)
        }
        '`' | '~' => State::Opening { mark: c, count: 1 },
        _ => prose(c, out),
    }
}

fn prose(c: char, out: &mut impl FnMut(Token)) -> State {
    match c {
        '\n' => {
            out(Token::Line);
            State::LineStart(0)
        }
        '`' => State::Ticks(1),
        '[' | '【' => State::Mark(c.to_string()),
        _ => {
            out(Token::Char(c));
            State::Prose
        }
    }
}

fn opening(mark: char, count: usize, c: char, out: &mut impl FnMut(Token)) -> State {
    if c == mark {
        return State::Opening { mark, count: count + 1 };
    }
    if count >= 3 {
        return info_line(mark, count, String::new(), c, out);
    }
    if mark == '`' {
        return span(count, String::new(), 0, c, out);
    }
    (0..count).for_each(|_| out(Token::Char(mark)));
    prose(c, out)
}

fn mark(mut held: String, c: char, out: &mut impl FnMut(Token)) -> State {
    match c {
        ']' | '】' => {
            let numbers = numbers(&held);
            if numbers.is_empty() {
                held.chars().for_each(|c| out(Token::Char(c)));
                out(Token::Char(c));
            }
            numbers.into_iter().for_each(|n| out(Token::Cite(n)));
            State::Prose
        }
        '0'..='9' | ',' | ' ' | '^' if held.chars().count() < MAX_MARK => {
            held.push(c);
            State::Mark(held)
        }
        _ => {
            held.chars().for_each(|c| out(Token::Char(c)));
            prose(c, out)
        }
    }
}

/// Numbers of `[1`, `[^1` or `[1, 2`; none when it is something else.
fn numbers(held: &str) -> Vec<u32> {
    let inner = held.trim_start_matches(['[', '【', '^']);
    let parse = |part: &str| {
        let part = part.trim();
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        // A number that is too large is as unknown as any other that no passage has.
        digits.then(|| part.parse::<u32>().unwrap_or(MAX_NUMBER).min(MAX_NUMBER))
    };
    inner.split(',').map(parse).collect::<Option<Vec<u32>>>().unwrap_or_default()
}

fn span(count: usize, mut text: String, run: usize, c: char, out: &mut impl FnMut(Token)) -> State {
    if c == '`' {
        return State::Span { count, text, run: run + 1 };
    }
    // What is not closed in its line is code up to the line's end.
    if run == count || c == '\n' {
        out(Token::Span(text));
        return prose(c, out);
    }
    if text.len() < MAX_CODE {
        (0..run).for_each(|_| text.push('`'));
        text.push(c);
    }
    State::Span { count, text, run: 0 }
}

fn info_line(mark: char, count: usize, mut info: String, c: char, out: &mut impl FnMut(Token)) -> State {
    match c {
        '\n' => State::Fence { mark, count, info, code: String::new(), line: String::new() },
        // Marks of three and more within a line are code of that line.
        '`' if mark == '`' => span(count, info, 0, c, out),
        _ => {
            if info.len() < 64 {
                info.push(c);
            }
            State::Info { mark, count, info }
        }
    }
}

struct Fenced {
    mark: char,
    count: usize,
    info: String,
    code: String,
    line: String,
}

fn closes(line: &str, mark: char, count: usize) -> bool {
    let bare = line.trim();
    bare.chars().count() >= count && bare.chars().all(|c| c == mark)
}

fn fence(mut fenced: Fenced, c: char, out: &mut impl FnMut(Token)) -> State {
    if c == '\n' && closes(&fenced.line, fenced.mark, fenced.count) {
        out(Token::Fence { info: fenced.info, code: fenced.code });
        out(Token::Line);
        return State::LineStart(0);
    }
    if fenced.code.len() + fenced.line.len() < MAX_CODE {
        fenced.line.push(c);
    }
    let Fenced { mark, count, info, mut code, mut line } = fenced;
    if c == '\n' {
        code.push_str(&line);
        line.clear();
    }
    State::Fence { mark, count, info, code, line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut scanner = Scanner::default();
        for c in text.chars() {
            scanner.push(c, &mut |token| tokens.push(token));
        }
        scanner.end(&mut |token| tokens.push(token));
        tokens
    }

    fn shown(text: &str) -> String {
        let show = |token: Token| match token {
            Token::Char(c) => c.to_string(),
            Token::Line => "⏎".to_owned(),
            Token::Cite(n) => format!("<{n}>"),
            Token::Span(code) => format!("({code})"),
            Token::Fence { info, code } => format!("{{{info}|{code}}}"),
        };
        scan(text).into_iter().map(show).collect()
    }

    #[test]
    fn citations_are_told_from_everything_that_looks_like_them() {
        for (text, expected) in [
            ("Run it [1][2].", "Run it <1><2>."),
            ("Run it [1, 12] or 【3】 or [^4].", "Run it <1><12> or <3> or <4>."),
            ("[a] [] [1 [2] [1;3] [ 5 ]", "[a] [] [1 <2> [1;3] <5>"),
            ("[99999999999]", "<9999>"),
            ("ends [1", "ends [1"),
            ("`a[1]` and ``b`[2]`` [3]", "(a[1]) and (b`[2]) <3>"),
            ("open `a[1]\nnext [2]", "open (a[1])⏎next <2>"),
            ("```sh\na[1]\n``\n```\nx [1]", "{sh|a[1]\n``\n}⏎x <1>"),
            ("  ~~~\na\n```\n~~~", "  {|a\n```\n}"),
            ("```\nunclosed [1]", "{|unclosed [1]}"),
            ("```one line [1]``` [2]", "(one line [1]) <2>"),
            ("~~x~~ `` ", "~~x~~ ( )"),
            ("[[1]]", "[<1>]"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn marks_and_code_without_end_stay_bounded() {
        let digits = format!("[{}", "1".repeat(1 << 20));
        assert_eq!(scan(&digits).len(), digits.len());
        for open in ["```\n", "`", "```"] {
            let text = format!("{open}{}", "x".repeat(1 << 20));
            let size: usize = scan(&text).iter().map(|token| format!("{token:?}").len()).sum();
            assert!(size < 2 * MAX_CODE, "{open} {size}");
        }
        let ticks = "` `` ``` ```` ".repeat(50_000);
        assert!(!scan(&ticks).is_empty());
    }
}
