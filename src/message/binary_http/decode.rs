//! Reads messages of known and of indeterminate length from pieces of any size (RFC 9292 sections 3.1 and 3.2).

use bytes::{Bytes, BytesMut};

use super::input::{Input, Item};
use super::{BinaryHttpError, Control, Field, Head, Kind, MAX_FIELDS, MAX_HEAD};

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The first part.
    Head(Head),
    /// A piece of the content, never empty.
    Content(Bytes),
}

/// Reads one message. After an error it gives nothing any more.
#[must_use = "a message is complete only when `finish` has returned its trailers"]
pub(crate) struct Decoder {
    kind: Kind,
    input: Input,
    state: State,
    /// What head or trailers may still take.
    limit: usize,
    lengths: Lengths,
    control: Vec<Vec<u8>>,
    status: Option<u16>,
    fields: Vec<Field>,
}

/// How sections and content are delimited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lengths {
    Known,
    Indeterminate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Framing,
    Control,
    /// Fields of an informational response, of the head, or the trailers.
    Fields(Section),
    /// Before the length of the content, or of a piece of it. `first`: no piece has come.
    ContentLen {
        first: bool,
    },
    Content {
        left: u64,
    },
    Padding,
    Failed(BinaryHttpError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Informational,
    Header,
    Trailer,
}

/// What a step led to.
enum Step {
    /// Nothing more without more bytes.
    Wait,
    Continue,
    Found(Part),
}

impl Decoder {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            input: Input::default(),
            state: State::Framing,
            limit: MAX_HEAD,
            lengths: Lengths::Known,
            control: Vec::new(),
            status: None,
            fields: Vec::new(),
        }
    }

    /// Takes the next bytes. The caller calls [`Decoder::next`] until it gives `None` before it pushes more.
    pub(crate) fn push(&mut self, bytes: impl Into<BytesMut> + AsRef<[u8]>) {
        self.input.push(bytes);
    }

    /// Returns the next part, or `None` until more has been pushed.
    pub(crate) fn next(&mut self) -> Result<Option<Part>, BinaryHttpError> {
        loop {
            match self.step() {
                Ok(Step::Continue) => {}
                Ok(Step::Wait) => return Ok(None),
                Ok(Step::Found(part)) => return Ok(Some(part)),
                Err(error) => {
                    self.state = State::Failed(error);
                    self.input = Input::default();
                    return Err(error);
                }
            }
        }
    }

    /// Ends the message, once all of it was pushed and [`Decoder::next`] has given `None`. Returns the trailers.
    ///
    /// Content and trailers that are empty may be left out (RFC 9292 section 3.8); a message that ends elsewhere is incomplete.
    pub(crate) fn finish(self) -> Result<Vec<Field>, BinaryHttpError> {
        let nothing_follows = self.input.is_empty();
        match self.state {
            State::Failed(error) => Err(error),
            State::Padding => Ok(self.fields),
            State::ContentLen { first: true } if nothing_follows => Ok(Vec::new()),
            State::Fields(Section::Trailer) if nothing_follows && self.fields.is_empty() => Ok(Vec::new()),
            _ => Err(BinaryHttpError::Truncated),
        }
    }

    fn step(&mut self) -> Result<Step, BinaryHttpError> {
        match self.state {
            State::Framing => self.framing(),
            State::Control => self.control(),
            State::Fields(section) => self.fields(section),
            State::ContentLen { .. } => self.content_len(),
            State::Content { left } => Ok(self.content(left)),
            State::Padding => self.padding(),
            State::Failed(error) => Err(error),
        }
    }

    fn to(&mut self, state: State) -> Step {
        self.state = state;
        Step::Continue
    }

    fn framing(&mut self) -> Result<Step, BinaryHttpError> {
        let Some(indicator) = self.input.integer()? else { return Ok(Step::Wait) };
        self.lengths = match (self.kind, indicator) {
            (Kind::Request, 0) | (Kind::Response, 1) => Lengths::Known,
            (Kind::Request, 2) | (Kind::Response, 3) => Lengths::Indeterminate,
            _ => return Err(BinaryHttpError::Framing(indicator)),
        };
        Ok(self.to(State::Control))
    }

    fn control(&mut self) -> Result<Step, BinaryHttpError> {
        match self.kind {
            Kind::Request => {
                let Some(text) = self.input.string(&mut self.limit)? else { return Ok(Step::Wait) };
                self.control.push(text);
                Ok(if self.control.len() < 4 { Step::Continue } else { self.to(State::Fields(Section::Header)) })
            }
            Kind::Response => {
                let Some(status) = self.input.integer()? else { return Ok(Step::Wait) };
                let status = u16::try_from(status).map_err(|_| BinaryHttpError::Control)?;
                // An encoding that could go on for ever is bounded like the fields.
                self.limit = self.limit.checked_sub(1).ok_or(BinaryHttpError::TooLarge)?;
                self.status = Some(status);
                Ok(self.to(State::Fields(match status {
                    // There is no connection here whose protocol could be switched.
                    101 => return Err(BinaryHttpError::Control),
                    100..=199 => Section::Informational,
                    _ => Section::Header,
                })))
            }
        }
    }

    fn fields(&mut self, section: Section) -> Result<Step, BinaryHttpError> {
        let ended = match self.lengths {
            Lengths::Known => self.known_section()?,
            Lengths::Indeterminate => self.next_field()?,
        };
        let Some(ended) = ended else { return Ok(Step::Wait) };
        if !ended {
            return Ok(Step::Continue);
        }
        match section {
            Section::Informational => {
                self.fields.clear();
                Ok(self.to(State::Control))
            }
            Section::Header => {
                let head = Head { control: self.take_control()?, fields: std::mem::take(&mut self.fields) };
                self.limit = MAX_HEAD;
                self.state = State::ContentLen { first: true };
                Ok(Step::Found(Part::Head(head)))
            }
            Section::Trailer => Ok(self.to(State::Padding)),
        }
    }

    /// Reads a section with a length. Gives `true`: it is read at once.
    fn known_section(&mut self) -> Item<bool> {
        let Some(mut section) = self.input.section(&mut self.limit)? else { return Ok(None) };
        let mut left = section.len();
        while left > 0 {
            match section.field(&mut left) {
                Ok(Some(Some(field))) => self.keep(field)?,
                // An empty name, or a field that ends behind the section.
                Ok(Some(None) | None) | Err(_) => return Err(BinaryHttpError::Field),
            }
        }
        Ok(Some(true))
    }

    /// Reads the next field, or gives `true` at the end of the section.
    fn next_field(&mut self) -> Item<bool> {
        let Some(field) = self.input.field(&mut self.limit)? else { return Ok(None) };
        let Some(field) = field else { return Ok(Some(true)) };
        self.keep(field)?;
        Ok(Some(false))
    }

    fn keep(&mut self, (name, value): (Vec<u8>, Vec<u8>)) -> Result<(), BinaryHttpError> {
        if self.fields.len() >= MAX_FIELDS {
            return Err(BinaryHttpError::TooLarge);
        }
        let field = Field { name: String::from_utf8(name).map_err(|_| BinaryHttpError::Field)?, value };
        if !field.is_valid() {
            return Err(BinaryHttpError::Field);
        }
        self.fields.push(field);
        Ok(())
    }

    fn take_control(&mut self) -> Result<Control, BinaryHttpError> {
        let control = match self.status {
            Some(status) => Control::Response { status },
            None => {
                let texts = std::mem::take(&mut self.control).into_iter().map(String::from_utf8);
                let texts: Vec<String> = texts.collect::<Result<_, _>>().map_err(|_| BinaryHttpError::Control)?;
                let [method, scheme, authority, path] =
                    <[String; 4]>::try_from(texts).map_err(|_| BinaryHttpError::Control)?;
                Control::Request { method, scheme, authority, path }
            }
        };
        if control.is_valid() { Ok(control) } else { Err(BinaryHttpError::Control) }
    }

    fn content_len(&mut self) -> Result<Step, BinaryHttpError> {
        let Some(left) = self.input.integer()? else { return Ok(Step::Wait) };
        Ok(self.to(if left == 0 { State::Fields(Section::Trailer) } else { State::Content { left } }))
    }

    fn content(&mut self, left: u64) -> Step {
        let piece = self.input.at_most(left);
        if piece.is_empty() {
            return Step::Wait;
        }
        let left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        self.state = match (left, self.lengths) {
            (0, Lengths::Known) => State::Fields(Section::Trailer),
            (0, Lengths::Indeterminate) => State::ContentLen { first: false },
            _ => State::Content { left },
        };
        Step::Found(Part::Content(piece))
    }

    fn padding(&mut self) -> Result<Step, BinaryHttpError> {
        let padding = self.input.at_most(u64::MAX);
        if padding.iter().any(|byte| *byte != 0) { Err(BinaryHttpError::Trailing) } else { Ok(Step::Wait) }
    }
}
