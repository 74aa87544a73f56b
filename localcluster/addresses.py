"""The fixed addresses inside the namespace; fixed because every cluster has a network of its own."""

HOST = "10.99.0.1"

ETCD = ("127.0.0.1", 2379)
ETCD_PEER = ("127.0.0.1", 2380)
APISERVER = (HOST, 6443)
KUBELET = (HOST, 10250)
PROMETHEUS = (HOST, 9090)
# Contour adds 8000 to the port of the Gateway's listener, which is 80.
GATEWAY = (HOST, 8080)
GATEWAY_TLS = (HOST, 8443)
XDS = ("127.0.0.1", 8001)
CONTOUR_HEALTH = ("127.0.0.1", 8000)
CONTOUR_DEBUG = ("127.0.0.1", 6060)
ENVOY_STATS = (HOST, 8002)
ENVOY_ADMIN = (HOST, 9901)


def text(address: tuple[str, int]) -> str:
    """host:port."""
    return f"{address[0]}:{address[1]}"


def url(address: tuple[str, int], scheme: str = "http") -> str:
    """scheme://host:port."""
    return f"{scheme}://{text(address)}"
