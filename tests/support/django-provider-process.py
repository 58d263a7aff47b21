"""An OpenID Provider in another language: Django with django-oauth-toolkit, in one process and in memory.

`DJANGO_PROVIDER` is JSON: clientId, clientSecret, redirectUri, accessTokenLifetime, people (name to password and claims).
"""
import json
import os
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings

given = json.loads(os.environ["DJANGO_PROVIDER"])
people = given["people"]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


server = make_server("127.0.0.1", 0, lambda environ, start: application(environ, start), handler_class=Quiet)
issuer = "http://127.0.0.1:%d/o" % server.server_port
key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
login = '<form method="post">{% csrf_token %}<input name="username"><input name="password" type="password"><button>Log in</button></form>'
settings.configure(
    SECRET_KEY="of a provider for tests",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"registration/login.html": login}),
                    "django.template.loaders.app_directories.Loader",
                ],
                "context_processors": ["django.template.context_processors.request"],
            },
        }
    ],
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_ISS_ENDPOINT": issuer,
        "OIDC_RSA_PRIVATE_KEY": key.decode(),
        "OAUTH2_VALIDATOR_CLASS": __name__ + ".Validator",
        "SCOPES": {"openid": "Sign in", "profile": "Profile", "email": "E-mail"},
        "ACCESS_TOKEN_EXPIRE_SECONDS": given["accessTokenLifetime"],
        "PKCE_REQUIRED": True,
    },
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.views import LoginView  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402
from oauth2_provider.oauth2_validators import OAuth2Validator  # noqa: E402
from oauth2_provider.views import ConnectDiscoveryInfoView  # noqa: E402


class Validator(OAuth2Validator):
    def get_additional_claims(self, request):
        return people[request.user.username]["claims"]


urlpatterns = [
    # OpenID Connect Discovery has no slash at the end.
    path("o/.well-known/openid-configuration", ConnectDiscoveryInfoView.as_view()),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("accounts/login/", LoginView.as_view()),
]
# Django imports its modules by name.
sys.modules.setdefault(__name__, sys.modules["__main__"])

call_command("migrate", verbosity=0)
for name, person in people.items():
    User.objects.create_user(name, password=person["password"])
Application.objects.create(
    name="Test",
    client_id=given["clientId"],
    client_secret=given["clientSecret"],
    client_type=Application.CLIENT_CONFIDENTIAL,
    authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
    algorithm=Application.RS256_ALGORITHM,
    redirect_uris=given["redirectUri"],
)
application = get_wsgi_application()
print("issuer " + issuer, flush=True)
server.serve_forever()
