"""What cluster tests share: a model server, users who call it, the operator as a process, and manifests."""
