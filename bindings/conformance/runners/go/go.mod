module conformance

go 1.19

require blindbox-attestation/bindings/go v0.0.0

replace blindbox-attestation/bindings/go => ../../../go
