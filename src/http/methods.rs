//! The methods of sessions that return requests.

/// Defines `get`, `post` and their siblings for a type whose `request` returns a `$request`.
macro_rules! request_methods {
    ($request:ty) => {
        /// Returns a `GET` request to a target on the session's origin, such as `/status`.
        pub fn get(&self, target: impl AsRef<str>) -> $request {
            self.request(::http::Method::GET, target)
        }

        /// Returns a `POST` request.
        pub fn post(&self, target: impl AsRef<str>) -> $request {
            self.request(::http::Method::POST, target)
        }

        /// Returns a `PUT` request.
        pub fn put(&self, target: impl AsRef<str>) -> $request {
            self.request(::http::Method::PUT, target)
        }

        /// Returns a `PATCH` request.
        pub fn patch(&self, target: impl AsRef<str>) -> $request {
            self.request(::http::Method::PATCH, target)
        }

        /// Returns a `DELETE` request.
        pub fn delete(&self, target: impl AsRef<str>) -> $request {
            self.request(::http::Method::DELETE, target)
        }

        /// Returns a `HEAD` request.
        pub fn head(&self, target: impl AsRef<str>) -> $request {
            self.request(::http::Method::HEAD, target)
        }

        /// Returns an `OPTIONS` request.
        pub fn options(&self, target: impl AsRef<str>) -> $request {
            self.request(::http::Method::OPTIONS, target)
        }
    };
}

pub(crate) use request_methods;
