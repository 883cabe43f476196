# The relay as an image: dependencies by hash from requirements-run.lock, the package over them,
# an unprivileged user. Settings at /etc/soboo-mta/soboo.toml, what is kept in /var/lib/soboo-mta.
#   docker build -t soboo-mta .
#   docker run --rm soboo-mta version
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements-run.lock ./
RUN python -m venv /opt/soboo-mta
RUN /opt/soboo-mta/bin/pip install --no-cache-dir --require-hashes -r requirements-run.lock
COPY pyproject.toml README.md LICENSE ./
COPY soboo_mta soboo_mta
RUN /opt/soboo-mta/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/soboo-mta --create-home soboo
COPY --from=build /opt/soboo-mta /opt/soboo-mta
ENV PATH="/opt/soboo-mta/bin:$PATH" SOBOO_CONFIG=/etc/soboo-mta/soboo.toml PYTHONUNBUFFERED=1
USER soboo
WORKDIR /var/lib/soboo-mta
VOLUME /var/lib/soboo-mta
EXPOSE 587 465
ENTRYPOINT ["soboo-mta"]
CMD ["serve"]
