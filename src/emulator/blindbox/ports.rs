//! What each port of a BlindBox serves: which requests its agent responds to, and which its application.

use std::sync::Arc;

use hyper::{Method, Request};

use super::agent::{Agent, AgentForm};
use super::application::GuestApplication;
use crate::agent::MESSAGE_PATH;
use crate::emulator::knob::Knob;
use crate::emulator::lock;
use crate::emulator::network::fault::Faults;
use crate::emulator::network::request::{Arrival, Handler, IncomingBody, Reply};
use crate::emulator::network::response::BufferedResponse;
use crate::emulator::network::traffic::is_agent_path;

/// What a port serves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Application,
    Agent,
    Both,
}

pub(super) fn handler(
    agent: &Arc<Agent>,
    faults: &Arc<Faults>,
    application: &Arc<GuestApplication>,
    port: Port,
) -> Handler {
    let (agent, faults, application) = (Arc::clone(agent), Arc::clone(faults), Arc::clone(application));
    Arc::new(move |arrival: Arrival| {
        let (agent, faults, application) = (Arc::clone(&agent), Arc::clone(&faults), Arc::clone(&application));
        Box::pin(async move {
            let path = arrival.request.uri().path();
            let for_agent = is_agent_path(path);
            if port == Port::Application || (port == Port::Both && !for_agent) {
                return application.reply(arrival, &faults).await;
            }
            if path == MESSAGE_PATH && agent.form != AgentForm::Legacy && arrival.request.method() == Method::POST {
                return message(&agent, arrival, &faults, &application).await;
            }
            let call = match arrival.whole().await {
                Ok(call) => call,
                Err(reply) => return reply,
            };
            let answer = if for_agent { agent.answer(&call) } else { BufferedResponse::not_found() };
            faults.reply(&call.path, answer).await
        })
    })
}

/// Opens a sealed message, has the application serve what is in it, and seals the response. The agent's own paths are not served inside.
async fn message(agent: &Agent, arrival: Arrival, faults: &Faults, application: &GuestApplication) -> Reply {
    let declines = lock(&agent.knobs).contains(&Knob::DeclineMessages);
    let serve = async |request: Request<IncomingBody>| {
        if is_agent_path(request.uri().path()) {
            return BufferedResponse::not_found().into_reply();
        }
        application.reply(Arrival { request, tls: None }, faults).await
    };
    let open = |arrival: Arrival| agent.messages.reply(arrival.request.into_body(), declines, serve);
    faults.serve(MESSAGE_PATH, arrival, open).await
}
