/** What `countersign-proxy --help` begins with; the settings follow. */
export const proxyHelp = `countersign-proxy: mutual TLS for an app that speaks plain HTTP or TCP

  countersign-proxy --bootstrap-file cart.join --app 127.0.0.1:8080
      in front of the app on port 8080; the file holds what
      "countersign token create --id spiffe://TD/ns/shop/sa/cart" printed.
      The app calls others by http_proxy=http://127.0.0.1:4140
  countersign-proxy --bootstrap-file cart.join --app 127.0.0.1:8080 \\
      --route 'world=10.0.0.7:4143,spiffe://TD/ns/shop/sa/world'
      where "world" is, and which identity must answer there; or once for
      all, at the CA: countersign service apply

  countersign-proxy intercept ...     apps that need no setting at all
  countersign-proxy gateway ...       one address for the services of a cluster
  countersign-proxy tap ...           look at live requests
  countersign-proxy verify-wire ...   look whether what passes is TLS
  countersign-proxy completion SHELL  have TAB complete: bash, zsh or fish
  countersign-proxy version           which one this is

Once it runs: curl http://127.0.0.1:4191/readyz, /identity, /edges, /metrics.
SIGTERM and SIGINT let open connections finish; a second one cuts them.
Exit code: 0 drained, 1 could not run, 2 wrong settings.
Settings, by flag, environment or JSON file (--config), in this order:

`;
