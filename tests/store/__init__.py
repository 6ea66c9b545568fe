"""What a store promises: the conformance suite, the reference it is compared with, and one small file per backend."""
