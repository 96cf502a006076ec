FROM python:3.13-slim
WORKDIR /app
COPY pyproject.toml ./
COPY handler handler
RUN pip install --no-cache-dir --requirement handler/requirements.txt '.[s3]' && mkdir /uploads && chown 10001:10001 /uploads
USER 10001:10001
ENV UPLOAD_FOLDER=/uploads
VOLUME /uploads
ENTRYPOINT ["python", "-m", "handler"]
CMD ["--host", "0.0.0.0"]
