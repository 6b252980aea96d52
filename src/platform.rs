//! The Workers runtime, as little of it as the edge needs, typed.
//!
//! Requests and responses stay the JavaScript objects that came in: `worker`'s own types copy them,
//! and panic on some. Clock, randomness and timers are read here and nowhere else.

use js_sys::{Array, Reflect};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, Request, RequestInit, Response, ResponseInit};

/// JavaScript threw; what it said is of no use to anybody but the log.
pub(crate) struct Thrown(JsValue);

impl From<JsValue> for Thrown {
    fn from(value: JsValue) -> Self {
        Self(value)
    }
}

impl std::fmt::Display for Thrown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = Reflect::get(&self.0, &"message".into())
            .ok()
            .and_then(|m| m.as_string());
        f.write_str(message.as_deref().unwrap_or("unknown"))
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch, catch)]
    fn global_fetch(request: &Request) -> Result<js_sys::Promise, JsValue>;

    #[wasm_bindgen(extends = js_sys::Object, js_name = Headers)]
    type CookieHeaders;

    #[wasm_bindgen(method, js_name = getSetCookie)]
    fn get_set_cookie(this: &CookieHeaders) -> Array;

    /// A dataset of the Analytics Engine.
    #[wasm_bindgen(extends = js_sys::Object)]
    type AnalyticsEngineDataset;

    #[wasm_bindgen(method, js_name = writeDataPoint, catch)]
    fn write_data_point(this: &AnalyticsEngineDataset, point: &JsValue) -> Result<(), JsValue>;

    #[wasm_bindgen(js_namespace = console, js_name = log)]
    fn console_log(line: &str);

    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(line: &str);
}

/// Milliseconds since 1970 UTC. Between two pieces of I/O the clock stands still.
pub(crate) fn now_ms() -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::disallowed_methods,
        reason = "the edge's one look at the clock; a date in milliseconds fits 53 bits"
    )]
    let now = js_sys::Date::now() as i64;
    now
}

/// Fills `bytes` from the platform's source of randomness.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge's one source of randomness"
)]
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Thrown> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Thrown(JsValue::NULL))?;
    Ok(bytes)
}

/// Waits `ms` milliseconds.
pub(crate) async fn sleep(ms: u64) {
    worker::Delay::from(std::time::Duration::from_millis(ms)).await;
}

/// Writes one line of log.
pub(crate) fn log(line: &str) {
    console_log(line);
}

/// Writes one line that an operator should look at.
pub(crate) fn alarm(line: &str) {
    console_error(line);
}

/// Sends a request on.
pub(crate) async fn fetch(request: &Request) -> Result<Response, Thrown> {
    let response = JsFuture::from(global_fetch(request)?).await?;
    Ok(response.dyn_into()?)
}

/// Fetches a file of `www/` from the assets binding; `None` without such a binding.
pub(crate) async fn fetch_asset(env: &worker::Env, path: &str) -> Option<Response> {
    let assets = Reflect::get(env, &"ASSETS".into())
        .ok()
        .filter(JsValue::is_object)?;
    let fetch: js_sys::Function = Reflect::get(&assets, &"fetch".into())
        .ok()?
        .dyn_into()
        .ok()?;
    let url = format!("https://assets.invalid/{path}");
    let promise: js_sys::Promise = fetch.call1(&assets, &url.into()).ok()?.dyn_into().ok()?;
    JsFuture::from(promise).await.ok()?.dyn_into().ok()
}

/// A signal that gives up after `ms` milliseconds.
pub(crate) fn deadline(ms: u64) -> AbortSignal {
    AbortSignal::timeout_with_u32(u32::try_from(ms).unwrap_or(u32::MAX))
}

/// A new request of ours.
pub(crate) fn request(url: &str, init: &RequestInit) -> Result<Request, Thrown> {
    Ok(Request::new_with_str_and_init(url, init)?)
}

/// A response of ours with a text body.
pub(crate) fn text_response(
    status: u16,
    headers: &Headers,
    body: Option<&str>,
) -> Result<Response, Thrown> {
    let init = ResponseInit::new();
    init.set_status(status);
    init.set_headers(headers);
    Ok(Response::new_with_opt_str_and_init(body, &init)?)
}

/// The same response with other headers, its body streaming on untouched and its socket with it.
pub(crate) fn with_headers(response: &Response, headers: &Headers) -> Result<Response, Thrown> {
    let init = ResponseInit::new();
    init.set_status(response.status());
    init.set_status_text(&response.status_text());
    init.set_headers(headers);
    if let Some(socket) = web_socket(response) {
        return upgraded(&init, &socket);
    }
    Ok(Response::new_with_opt_readable_stream_and_init(
        response.body().as_ref(),
        &init,
    )?)
}

/// The app's end of a socket, if the response is an upgrade.
pub(crate) fn web_socket(response: &Response) -> Option<JsValue> {
    let socket = Reflect::get(response, &"webSocket".into()).ok();
    socket.filter(JsValue::is_object)
}

/// An upgrade whose other end is `socket`.
pub(crate) fn upgraded(init: &ResponseInit, socket: &JsValue) -> Result<Response, Thrown> {
    Reflect::set(init, &"webSocket".into(), socket)?;
    Ok(Response::new_with_opt_str_and_init(None, init)?)
}

/// All header names and values; repeated names come joined, but for `Set-Cookie`.
pub(crate) fn header_entries(headers: &Headers) -> Vec<(String, String)> {
    let pair = |entry: JsValue| {
        let entry: Array = entry.dyn_into().ok()?;
        Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
    };
    let entries = headers.entries().into_iter();
    entries.filter_map(|entry| pair(entry.ok()?)).collect()
}

/// Every `Set-Cookie` line by itself.
pub(crate) fn set_cookies(headers: &Headers) -> Vec<String> {
    let headers: &CookieHeaders = headers.unchecked_ref();
    headers
        .get_set_cookie()
        .iter()
        .filter_map(|line| line.as_string())
        .collect()
}

/// A header's value, if it is there.
pub(crate) fn header(headers: &Headers, name: &str) -> Option<String> {
    headers.get(name).ok().flatten()
}

/// Name of the binding that data points go to.
const ANALYTICS_BINDING: &str = "ANALYTICS";
/// Longest index of a data point, in bytes: the platform refuses longer ones.
const MAX_INDEX_BYTES: usize = 96;

/// Where data points go: a dataset of the Analytics Engine.
pub(crate) struct Dataset(AnalyticsEngineDataset);

impl Dataset {
    /// The one that is bound, if any.
    pub(crate) fn bound(env: &worker::Env) -> Option<Self> {
        let binding = Reflect::get(env, &ANALYTICS_BINDING.into()).ok()?;
        let is_dataset = binding.is_object();
        is_dataset.then(|| Self(binding.unchecked_into()))
    }

    /// Writes one data point, beside the request and never to its harm: a failure is passed over.
    pub(crate) fn write(&self, index: &str, texts: &[&str], numbers: &[f64]) {
        let end = index.floor_char_boundary(MAX_INDEX_BYTES);
        let index = index.get(..end).unwrap_or_default();
        let texts: Array = texts.iter().map(|text| JsValue::from_str(text)).collect();
        let numbers: Array = numbers.iter().map(|&it| JsValue::from_f64(it)).collect();
        let point = js_sys::Object::new();
        for (name, value) in [
            ("indexes", Array::of1(&index.into())),
            ("blobs", texts),
            ("doubles", numbers),
        ] {
            let _set = Reflect::set(&point, &name.into(), &value);
        }
        let _written = self.0.write_data_point(&point);
    }
}

/// A binding of text: a secret, or a variable.
pub(crate) fn text_binding(env: &worker::Env, name: &str) -> Option<String> {
    Reflect::get(env, &name.into()).ok()?.as_string()
}

/// A binding of an object as JSON text; a text binding as it is.
pub(crate) fn json_binding(env: &worker::Env, name: &str) -> Option<String> {
    let value = Reflect::get(env, &name.into()).ok()?;
    value
        .as_string()
        .or_else(|| js_sys::JSON::stringify(&value).ok()?.as_string())
}

/// A member of `request.cf`, where the platform says what it knows about the client.
pub(crate) fn cf(request: &Request, member: &str) -> Option<JsValue> {
    let cf = Reflect::get(request, &"cf".into())
        .ok()
        .filter(JsValue::is_object)?;
    Reflect::get(&cf, &member.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::{ANALYTICS_BINDING, Dataset};
    use js_sys::{Array, Function, JSON, Object, Reflect};
    use wasm_bindgen::{JsCast, JsValue};
    use wasm_bindgen_test::wasm_bindgen_test;

    /// An environment whose dataset does `body` with each `point`.
    fn env(body: &str) -> (worker::Env, Object) {
        let (env, dataset) = (Object::new(), Object::new());
        Reflect::set(&dataset, &"points".into(), &Array::new()).unwrap();
        let write = Function::new_with_args("point", body);
        Reflect::set(&dataset, &"writeDataPoint".into(), &write).unwrap();
        Reflect::set(&env, &ANALYTICS_BINDING.into(), &dataset).unwrap();
        (env.unchecked_into(), dataset)
    }

    #[wasm_bindgen_test]
    fn dataset_writes_a_point_as_the_platform_takes_it() {
        let (env, dataset) = env("this.points.push(point)");
        let bound = Dataset::bound(&env).unwrap();
        let route = format!("/{}é/*", "a".repeat(94));
        bound.write(&route, &["forwarded", &route], &[200.0, -1.0]);

        let points = Reflect::get(&dataset, &"points".into()).unwrap();
        let index = format!("/{}", "a".repeat(94));
        assert_eq!(
            String::from(JSON::stringify(&points).unwrap()),
            format!(
                r#"[{{"indexes":["{index}"],"blobs":["forwarded","{route}"],"doubles":[200,-1]}}]"#
            )
        );
    }

    #[wasm_bindgen_test]
    fn dataset_passes_over_a_write_that_throws() {
        let (env, _) = env("throw new TypeError('too many points')");
        Dataset::bound(&env).unwrap().write("/*", &[], &[]);
    }

    #[wasm_bindgen_test]
    fn dataset_is_bound_only_where_the_binding_is_an_object() {
        for value in [JsValue::UNDEFINED, JsValue::NULL, "text".into()] {
            let env = Object::new();
            Reflect::set(&env, &ANALYTICS_BINDING.into(), &value).unwrap();
            assert!(Dataset::bound(&env.unchecked_into()).is_none());
        }
    }
}
