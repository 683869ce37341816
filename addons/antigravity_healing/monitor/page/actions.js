// Buttons that have the proxy do something, and say what came of it.

import { act } from "./asking.js";
import { by, make, put } from "./dom.js";

/** Say it to the person, on the page and in the dialog: whichever can be seen. */
export function tell(text, failed = false) {
  for (const id of ["told", "detail-told"]) {
    put(by(id), text);
    by(id).classList.toggle("bad", failed);
  }
}

/** A button for `label`, whose whole meaning is `meaning`. then: what to do once it is done. */
export function actionButton(label, meaning, path, body, then = () => {}) {
  const press = async (event) => {
    const button = event.currentTarget;
    // Not disabled: that would take the focus away.
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      tell(await act(path, body));
      then();
    } catch (error) {
      tell(error.message, true);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  };
  return make("button", { type: "button", "aria-label": meaning, title: meaning, onclick: press }, label);
}
