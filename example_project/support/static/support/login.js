/** A click on a demo user fills in the form. */

const form = document.querySelector("[data-login]");
const people = document.querySelectorAll("[data-username]");

for (const person of people) {
  person.addEventListener("click", () => {
    form.elements.username.value = person.dataset.username;
    form.elements.password.value = person.dataset.password;
    for (const other of people) other.setAttribute("aria-pressed", String(other === person));
    form.querySelector("[type=submit]").focus();
  });
}
