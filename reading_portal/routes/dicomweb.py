"""DICOMweb (PS3.18): the four services under one address."""

from fastapi import APIRouter

from reading_portal.routes import dicomweb_rendered, dicomweb_retrieve, dicomweb_search, dicomweb_store

router = APIRouter(prefix="/dicom-web", tags=["dicomweb"])
for service in (dicomweb_search, dicomweb_store, dicomweb_rendered, dicomweb_retrieve):
    router.include_router(service.router)
