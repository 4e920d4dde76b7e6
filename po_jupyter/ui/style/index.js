import "./tokens.css";
import "./components.css";
import "./runs.css";
import "./render.css";
import "./editor.css";
import "./lab.css";
