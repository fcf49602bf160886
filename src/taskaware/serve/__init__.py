"""A model as a service over HTTP, with a page for people (the extra ``serve``)."""
