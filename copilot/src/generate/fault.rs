//! Why there is no generated answer: precisely for log and metrics, in one word for the reader.

/// What went wrong between the question and a generated answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No connection.
    Unreachable,
    /// No token, or not all of them, in time.
    Slow,
    /// The key was not accepted.
    Denied,
    /// Too many requests, for as many seconds as the model's server says.
    Limited(Option<u64>),
    /// Any other status that is no success.
    Failed(u16),
    /// Another content type than the one that was asked for.
    WrongType,
    /// Something that is not in the protocol.
    Malformed,
    /// A longer line or response than is read.
    TooLong,
    /// The stream ended before the answer did.
    Cut,
    /// It wanted to call a tool; none is offered.
    ToolCall,
    /// It refused, or was filtered.
    Refused,
    /// It said nothing.
    Empty,
    /// It said that the passages do not answer.
    Declined,
    /// Too little of what it said stands in the passages that it cites.
    Ungrounded,
    /// The caller's or the site's tokens of the day are spent.
    Budget,
    /// As many answers are being generated as may be at a time.
    Busy,
    /// It failed a moment ago and is left alone for a while.
    Paused,
}

impl Fault {
    /// Name in log and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::Denied => "denied",
            Self::Limited(_) => "limited",
            Self::Failed(_) => "failed",
            Self::WrongType => "wrong_type",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Cut => "cut",
            Self::ToolCall => "tool_call",
            Self::Refused => "refused",
            Self::Empty => "empty",
            Self::Declined => "declined",
            Self::Ungrounded => "ungrounded",
            Self::Budget => "budget",
            Self::Busy => "busy",
            Self::Paused => "paused",
        }
    }

    /// What the reader is told. How the model's server is set up is the operator's business.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Budget => "budget",
            Self::Refused | Self::Declined => "declined",
            Self::Ungrounded => "ungrounded",
            Self::Unreachable | Self::Denied | Self::Limited(_) | Self::Failed(_) | Self::Busy | Self::Paused => {
                "unavailable"
            }
            Self::WrongType | Self::Malformed | Self::TooLong | Self::Cut | Self::ToolCall | Self::Empty => "unusable",
        }
    }

    /// Whether the next question is likely to meet the same.
    #[must_use]
    pub fn lasts(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::Slow | Self::Denied | Self::Limited(_) | Self::Failed(_) | Self::WrongType
        )
    }
}
