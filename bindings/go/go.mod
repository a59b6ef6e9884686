module blindbox-attestation/bindings/go

go 1.19
