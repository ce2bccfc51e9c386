# pip inside the image takes everything from the wheelhouse, and reads no settings meant for the host.
unset PIP_CERT REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR
unset PIP_INDEX_URL PIP_EXTRA_INDEX_URL
export PIP_NO_INDEX=1
export PIP_FIND_LINKS=/tmp/in_target.d/wheelhouse
export PIP_DISABLE_PIP_VERSION_CHECK=1
