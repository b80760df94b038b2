# In place of nats:…-alpine from the registry: the same entry point, and wget, which the health check calls.
ARG BASE
FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends wget \
 && rm -rf /var/lib/apt/lists/*
COPY nats-server nats.entrypoint.sh /usr/local/bin/
EXPOSE 4222 8222 6222
ENTRYPOINT ["nats.entrypoint.sh"]
CMD ["nats-server"]
