"""Shared by the test modules. Fixtures are in the ``conftest.py`` of each folder.

Clients: ``http_client`` (forms, raw bodies, problems), ``direct_client`` (uploads straight to the storage),
``browser_requests`` (forms as browsers wrote them), ``tokens`` (good and bad ones).
Storages: ``stored_files``, ``folder_uploads``, ``power_loss`` (a disk that forgets), ``fake_s3`` (an S3 that fails).
Lambda: ``lambda_runtime`` (secret, context), ``gateway_events``, ``gateway_behaviours``, ``s3_events``.
Content: ``samples`` (one small file of each type), ``filetype_samples`` (variants), ``inspection`` (the content check).
Documents: ``template``, ``documentation``, ``contract`` (``openapi.json``, which every test's client checks).
Processes: ``sam``, ``chromium`` (its options), ``page_server`` (another web site), ``gate`` (a proxy that holds bytes).
"""
