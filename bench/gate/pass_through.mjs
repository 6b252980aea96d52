// The least a Worker in front of an app can do: forward, and judge nothing. What the edge costs is
// told against this. On /refused it refuses instead: the least a refusal can cost.

export default {
  fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    if (pathname === "/refused") return Response.json({ code: "refused" }, { status: 401 });
    return fetch(env.UPSTREAM_URL + pathname + search, request);
  },
};
