"""What all tests share: hypothesis without deadlines (speed is measured in benchmarks)."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "heapsyncd", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("heapsyncd")
