//! Bodies of requests and responses.

use blindbox_facade as facade;
use napi::Env;
use napi::bindgen_prelude::{Buffer, Object};
use napi_derive::napi;

use crate::call;

/// A response: its head, and its body as it is pulled.
#[napi]
pub struct Response(facade::Response);

impl Response {
    pub(crate) fn new(response: facade::Response) -> Self {
        Self(response)
    }
}

/// The head of a response, and the beginning of its body.
#[napi(object)]
pub struct Head {
    pub status: u32,
    pub version: String,
    pub url: String,
    /// Names and values in turn; a value is a string of bytes (Latin-1).
    pub headers: Vec<String>,
    pub early: Buffer,
    /// Whether that is the whole body.
    pub complete: bool,
}

#[napi]
impl Response {
    #[napi]
    pub fn head(&self) -> Head {
        let response = &self.0;
        let headers = response.headers.iter();
        let latin1 = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        let early = response.early();
        Head {
            status: response.status.into(),
            version: response.version.to_owned(),
            url: response.url.clone(),
            headers: headers.flat_map(|(name, value)| [name.clone(), latin1(value)]).collect(),
            early: early.bytes.to_vec().into(),
            complete: early.complete,
        }
    }

    /// Pulls the next bytes; null at the end.
    #[napi]
    pub fn chunk<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        call::start(env, None, self.0.chunk(), |chunk| chunk.map(|bytes| Buffer::from(bytes.to_vec())))
    }

    #[napi]
    pub fn close(&self) {
        self.0.close();
    }
}

/// A request body that is written while it is sent.
#[napi]
pub struct Upload(pub(crate) facade::Upload);

#[napi]
impl Upload {
    #[napi(constructor)]
    pub fn new(length: Option<f64>) -> Self {
        // Sizes in JavaScript are whole numbers up to 2^53.
        let length = length.and_then(|length| format!("{length:.0}").parse().ok());
        Self(facade::Upload::new(length))
    }

    /// Waits until the request takes more; false if it takes no more.
    #[napi]
    pub fn ready<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        call::start(env, None, self.0.ready(), |wants| wants)
    }

    /// Waits until the request takes more, and gives it a piece; false if it takes no more.
    #[napi]
    pub fn write<'env>(&self, env: &'env Env, piece: &[u8]) -> napi::Result<Object<'env>> {
        call::start(env, None, self.0.write(piece.to_vec().into()), |wants| wants)
    }

    #[napi]
    pub fn finish(&self) {
        self.0.finish();
    }

    #[napi]
    pub fn fail(&self, reason: String) {
        self.0.fail(&reason);
    }
}
