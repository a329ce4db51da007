// Logs in, sends money and cancels, using only types generated from the document.
import { argv } from "node:process";
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const [baseUrl, username, password, origin, destination] = argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const api = createClient<paths>({ baseUrl });

const login = await api.POST("/api/login/", { body: { username, password } });
if (!login.data) throw new Error(JSON.stringify(login.error));
const headers = { Authorization: `Bearer ${login.data.access}` };

const balances = async () => {
  const accounts = await api.GET("/api/accounts/", { headers });
  if (!accounts.data) throw new Error("no accounts");
  return accounts.data.map((account): number => account.balance);
};

const sent = await api.POST("/api/transfers/", {
  headers,
  params: { header: { "Idempotency-Key": "typescript" } },
  body: { origin: Number(origin), destination: Number(destination), balance: 250_000 },
});
if (!sent.data) throw new Error(JSON.stringify(sent.error));
const afterwards = await balances();

const path = { id: sent.data.id };
const cancelled = await api.DELETE("/api/transfers/{id}/", { headers, params: { path } });
const again = await api.DELETE("/api/transfers/{id}/", { headers, params: { path } });
const code = again.error && "code" in again.error ? again.error.code : undefined;

console.log(
  JSON.stringify({
    transfer: sent.data.balance,
    afterwards,
    cancelled: cancelled.response.status,
    again: code,
    finally: await balances(),
  }),
);
