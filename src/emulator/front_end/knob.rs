//! What a front end can do that is not honest.

use crate::emulator::network::gate::Gate;

/// One action of a hostile front end. Messages are whole before most of these act: nothing is streamed then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrontEndKnob {
    // Attestations.
    /// Puts a key configuration of its own into responses to attestation requests, and opens what is sealed to it.
    OwnMessageKey,
    /// Responds to attestation requests with its first response again.
    EarlierAttestation,
    /// Puts the session of the first attestation into the responses to later ones.
    EarlierSession,

    // Sealed requests.
    /// Flips a bit of this byte.
    ChangeRequest(usize),
    /// Delivers only so many bytes, as if that were all.
    CutRequest(usize),
    /// Delivers all but the final chunk, as if that were all.
    RequestWithoutFinalChunk,
    /// Delivers it twice, and gives the second response.
    RepeatRequest,
    /// Delivers it to every replica, and gives the last response.
    RequestToEveryReplica,
    /// Delivers the first request of all once more, in place of each later one.
    EarlierRequest,
    /// Delivers it when the gate is open.
    HoldRequests(Gate),
    /// Sends requests to one replica after the other, whichever was attested.
    SpreadOverReplicas,

    // Sealed responses.
    /// Flips a bit of this byte.
    ChangeResponse(usize),
    /// Passes on only so many bytes, as if that were all.
    CutResponse(usize),
    /// Passes on all but the final chunk, as if that were all.
    ResponseWithoutFinalChunk,
    /// Exchanges the first two chunks.
    ReorderChunks,
    /// Passes on the first chunk twice.
    RepeatChunk,
    /// Passes on bytes behind the final chunk.
    AppendToResponse,
    /// Gives the first response of all in place of each later one.
    EarlierResponse,
    /// Delivers the request, and closes the connection without a response.
    WithholdResponse,
    /// Delivers the request, and reports that its key is not known.
    ReportUnknownKey,
    /// Delivers nothing, and responds itself with this status and a text that is not sealed; a redirect leads to `/elsewhere`.
    ForgeResponse(u16),
}
