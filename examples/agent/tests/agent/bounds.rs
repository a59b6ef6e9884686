//! What nobody can hold for ever: a place, a device, an answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use blindbox_agent::{Device, EvidenceError};
use serde_json::json;
use tokio::time::timeout;

use crate::client::{Client, post};
use crate::lab::{agent_with_device, application};

/// Longer than anything here takes, shorter than what would have been waited for.
const SOON: Duration = Duration::from_secs(20);

/// A device that answers nobody until it is let go.
#[derive(Default)]
struct Stuck {
    let_go: (Mutex<bool>, Condvar),
    calls: AtomicUsize,
}

struct StuckDevice(Arc<Stuck>);

impl Device for StuckDevice {
    fn report(&self, _: &[u8; 64]) -> Result<Vec<u8>, EvidenceError> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let (open, changed) = &self.0.let_go;
        drop(changed.wait_while(open.lock().unwrap(), |open| !*open));
        Err(EvidenceError::Device("let go".to_owned()))
    }
}

#[tokio::test]
async fn callers_that_go_away_leave_no_more_device_calls_than_there_are_places() {
    let application = application().await;
    let stuck = Arc::<Stuck>::default();
    let limits = "[limits]\nattestations-in-flight = 2";
    let agent = agent_with_device(StuckDevice(Arc::clone(&stuck)), &application, "", limits).await;
    let request = post("/attest/combined", &json!({ "nonce": "0".repeat(64) }).to_string());
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let before = stuck.calls.load(Ordering::SeqCst);
        let mut client = Client::connect(agent.address()).await;
        client.write(&request).await;
        let begun = async {
            while stuck.calls.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            answer = client.read() => statuses.push(answer.unwrap().status),
            () = begun => {}
        }
        drop(client);
        // Time for the agent to see it.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let calls = stuck.calls.load(Ordering::SeqCst);
    *stuck.let_go.0.lock().unwrap() = true;
    stuck.let_go.1.notify_all();
    assert_eq!((calls, statuses), (2, vec![429; 10]));
    // What was done for nobody gives its place back.
    let mut client = Client::connect(agent.address()).await;
    let again = async { while client.send(&request).await.status == 429 {} };
    timeout(SOON, again).await.expect("a place does not come back");
}
