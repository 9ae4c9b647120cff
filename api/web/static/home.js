// Home keeps itself up to date while runs are in flight.
import { keepFresh, say } from "./page.js";

keepFresh(["now"], { wanted: () => document.getElementById("now").dataset.unfinished === "yes", say });
