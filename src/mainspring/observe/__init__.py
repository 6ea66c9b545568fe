"""For those who look on: what happens to an app's jobs, in the terms of the tools that they have.

    from mainspring.observe import opentelemetry

    opentelemetry.instrument(app)

(What Prometheus scrapes is served by the web: `GET /metrics`.)
"""
